"""ALBERT itself: modeling, heads, losses, and the Keras models made of them."""
