import { $, post, trouble } from "./dom.js";

$("door").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await post("/enter", { secret: $("secret").value });
    location.replace("/");
  } catch (error) {
    trouble(error.message);
  }
});
