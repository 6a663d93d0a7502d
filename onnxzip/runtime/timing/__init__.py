"""How long models run: whole ones side by side, and their kernels one by one."""
