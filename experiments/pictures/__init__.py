"""From a model and its clips to pictures: what is shown, the numbers behind it, the drawing, the page."""
