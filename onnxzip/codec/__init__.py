"""Numbers to bytes: coefficients become integers and steps, and these a decode graph (emit)."""
