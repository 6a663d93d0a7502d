"""Types that few operators know: how values come into them, and out of them."""
