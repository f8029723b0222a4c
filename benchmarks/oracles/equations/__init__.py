"""The papers' equations, computed as they are written; nothing here imports hpc_adabatch."""
