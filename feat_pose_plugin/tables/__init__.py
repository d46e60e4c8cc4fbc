"""Landmark and pose tables of any size, in CSV and Parquet."""
