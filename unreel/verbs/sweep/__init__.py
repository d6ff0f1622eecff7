"""Several settings over several seeds: trained, evaluated and compared in one table."""
