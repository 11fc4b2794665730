"""Where bfloat16 pays."""

import torch


def native(device: torch.device) -> bool:
    """Has this processor instructions for products of bfloat16? Without them a convolution takes 2 (AVX-512) to 15 times (AVX2) longer
    than in float32. Only x86 says so; on an accelerator nothing that asks this is slow."""
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
