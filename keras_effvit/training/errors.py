"""What can go wrong in training."""


class TrainingError(ValueError):
    """Training that cannot begin, or not go on; what it had written is still there."""
