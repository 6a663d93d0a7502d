"""How a comparison with other tools is reported: its record, its table, its plot."""
