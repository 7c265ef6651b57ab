"""Many runs: presets x seeds x settings, each an ordinary run with its rows in the ledger, carried out by Ray."""
