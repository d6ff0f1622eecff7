"""Videos and instances as columns: ten million of them open in seconds, and a row is made when it is asked for."""
