"""Texts from outside that a picture must draw as they stand, or as far as they can be drawn."""

HOSTILE = (
    "$x^2$ costs $\\frac{1}{0}$",
    "<b>on</b> <script>alert(1)</script> &lt;",
    "a\x00b\x1b[31mc\ud800d",
    "\u202eleft of it\u2066 right",
    "مرحبا، الكرة على يسار الصندوق",
    "🐈‍⬛ on 🏠 日本語のテキスト e\u0301\u0300\u0302",
    "{name} %s %(x)s \\n",
    "x" * 1_000_000,
    "left of " * 125_000,
    "\n" * 10_000,
    "",
)
