"""How long something took or will take, in the words of a person."""


def format_duration(seconds: float) -> str:
    """Returns `2 h 05 min`, `12 min 30 s` or `45 s`."""
    seconds = int(seconds)
    if seconds >= 3600:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
    if seconds >= 60:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds} s"
