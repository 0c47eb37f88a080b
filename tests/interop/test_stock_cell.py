"""The harness itself: a cell of stock programs alone does in our nodes what OpenAFS is known to do."""
