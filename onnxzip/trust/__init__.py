"""How a model reaches others whole and from whom it says: signed, sealed, with a bill of materials."""
