"""HDF5 read within bounds, by pyfive."""
