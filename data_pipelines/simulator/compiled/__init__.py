"""What Numba compiles: rays, shadows, light, and the drawing of a frame from them.

Compiled functions take arrays whose columns have names: bodies (`rays`), lights (`light`), cells (`shadows`) and the
camera (`bounds`). A tuple of arrays for each would cost seconds of compiling.
"""
