"""Outputs: recorded, summed up, and whether they tell anything."""
