"""Numbers in sentences."""


def counted(number: int, noun: str) -> str:
    """1 -> "1 picture", 2000 -> "2,000 pictures"; a noun that ends in s gets "es"."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"
