"""Networks of DPC, CoCLR and DualVar that no other file has."""
