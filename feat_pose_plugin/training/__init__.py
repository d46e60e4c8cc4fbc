"""Training of the shared network: on synthetic faces, or from a teacher's tables."""
