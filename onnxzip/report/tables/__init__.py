"""Records of results -> tables and lines of text, which every format of the report shows alike."""
