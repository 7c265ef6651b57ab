"""Text from elsewhere (file names, messages) made fit to print."""


def printable(text: str) -> str:
    """Returns the text with all that is not a visible sign or a space written as an escape.

    So no terminal takes a name for a command (C0 and C1 controls), no name reads backwards (bidi controls) or spans
    two lines, and a byte that is not UTF-8 (a surrogate, in Python) shows as \\xff.
    """
    return "".join(sign if sign.isprintable() else _escape(sign) for sign in text)


def _escape(sign: str) -> str:
    if "\udc80" <= sign <= "\udcff":  # what os.fsdecode makes of the byte 0x80 to 0xff
        return f"\\x{ord(sign) - 0xDC00:02x}"
    return sign.encode("unicode_escape").decode("ascii")
