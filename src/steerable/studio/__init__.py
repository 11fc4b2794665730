"""The studio: a page in the browser in which a person steers pictures by hand. It holds no mathematics; every action is a library call.

session     one person's edit list, and what it means (a base and edits)
shelf       one person's folder: paths, masks, inversions, by content
worker      the one thread that renders, in order of urgency
pictures    what is drawn: previews, full pictures, strips, what leaks, scores
live        the websocket of a slider
jobs, job   long work in a process of its own
guard       who may talk to it
server      the page's routes
script      the same picture as a command and as Python
"""
