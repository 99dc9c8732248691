"""Pure: canonical JSON, Merkle tree, tiles, signed notes, proofs."""
