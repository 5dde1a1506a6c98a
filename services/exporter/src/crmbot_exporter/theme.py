"""Colours, fonts and number formats of all workbooks."""

from functools import cache

from xlsxwriter import Workbook
from xlsxwriter.format import Format

from crmbot_exporter.layout import Kind

FONT = "Arial"

INK = "#1F2A3C"
MUTED = "#6B778C"
GRID = "#DFE4EC"
BAND = "#F3F6FA"
NAVY = "#17365D"
PALE = "#C9D6E8"
BLUE = "#2F6DB5"
LIGHT_BLUE = "#8FB8E3"
ORANGE = "#EE8A2B"
GREEN = "#3A9D6E"
RED = "#CF4B43"
TEAL = "#2BA3A8"
YELLOW = "#E9B949"
GREY = "#9AA5B5"

BAR = "#CFE2F5"
HEAT_SCALE = ("#FFFFFF", "#CFE2F5", "#7FB0E0")
PLAN_SCALE = (
    "#F6C9C5",
    "#FBE9C2",
    "#C5E5D2",
)  # at PLAN_ENDS[0], the midpoint and PLAN_ENDS[1] of the plan
PLAN_ENDS = (0.7, 1.0)

NUMBER_FORMATS = {
    Kind.TEXT: "General",
    Kind.INTEGER: "#,##0",
    Kind.IDENTIFIER: "0",
    Kind.DECIMAL: "#,##0.0",
    Kind.PERCENT: "0.0%",
    Kind.CHANGE: '[>=10]"▲ > 1000%";[<0]"▼ "0.0%;"▲ "0.0%',  # growth from almost zero is meaningless
    Kind.ROUBLES: r'#,##0\ [$₽-419];-#,##0\ [$₽-419];"–"',
    Kind.ROUBLES_KOPECKS: r"#,##0.00\ [$₽-419]",
    Kind.DATE: "dd.mm.yyyy",
    Kind.MOMENT: "dd.mm.yyyy hh:mm:ss",
}

_LEFT = (Kind.TEXT, Kind.DATE, Kind.MOMENT)


def axis_format(kind: Kind, greatest: float) -> str:
    """Return a short number format for an axis or data labels with this greatest value."""
    if kind is Kind.PERCENT:
        return "0%" if greatest > 0.1 else "0.0%"
    if kind in (Kind.ROUBLES, Kind.ROUBLES_KOPECKS):
        if greatest >= 10_000_000:
            return '#,##0.0,, "млн ₽"' if greatest < 100_000_000 else '#,##0,, "млн ₽"'
        return '#,##0, "тыс. ₽"' if greatest >= 10_000 else '#,##0 "₽"'
    return NUMBER_FORMATS[kind]


class Theme:
    """The cell formats of one workbook."""

    def __init__(self, workbook: Workbook) -> None:
        def add(**properties: object) -> Format:
            return workbook.add_format(
                {"font_name": FONT, "font_size": 10, "font_color": INK, "valign": "vcenter", **properties}
            )

        band = {"bg_color": NAVY, "indent": 1}
        # A white border separates cards.
        card = {"bg_color": BAND, "align": "left", "indent": 1, "right": 5, "right_color": "#FFFFFF"}
        self.title = add(bold=True, font_size=16, font_color="#FFFFFF", **band)
        self.subtitle = add(font_color=PALE, **band)
        self.plain = add()
        self.note = add(font_color=MUTED, italic=True, indent=1)
        self.section = add(bold=True, font_size=12, font_color=NAVY)
        self.heading = add(bold=True, font_size=12, font_color=NAVY, bottom=1, bottom_color=GRID)
        self.link = add(font_color=BLUE, underline=1, indent=1)
        self.insight = add(indent=1, font_size=11)
        self.card_title = add(font_color=MUTED, top=5, top_color=BLUE, **card)
        self.card_end = add(**card)
        self.better = workbook.add_format({"font_color": GREEN})
        self.worse = workbook.add_format({"font_color": RED})

        @cache
        def card_value(kind: Kind) -> Format:
            return add(bold=True, font_size=20, font_color=NAVY, num_format=NUMBER_FORMATS[kind], **card)

        @cache
        def card_change(number_format: str, colour: str) -> Format:
            return add(font_color=colour, num_format=number_format, **card)

        @cache
        def header(kind: Kind) -> Format:
            return add(
                bold=True,
                font_color=NAVY,
                bg_color=BAND,
                bottom=2,
                bottom_color=BLUE,
                text_wrap=True,
                **_alignment(kind),
            )

        @cache
        def cell(kind: Kind) -> Format:
            return add(bottom=1, bottom_color=GRID, **_look(kind))

        @cache
        def cell_link(kind: Kind) -> Format:
            return add(bottom=1, bottom_color=GRID, **_look(kind) | {"font_color": BLUE, "underline": 1})

        @cache
        def total(kind: Kind) -> Format:
            return add(
                bold=True,
                bg_color=BAND,
                top=1,
                top_color=BLUE,
                **_look(kind),
            )

        @cache
        def data(kind: Kind) -> Format:
            # For whole columns; no borders, which only clutter a million rows.
            return workbook.add_format({"font_name": FONT, **_look(kind)})

        self.card_value, self.card_change = card_value, card_change
        self.header, self.cell, self.cell_link, self.total, self.data = header, cell, cell_link, total, data


def _look(kind: Kind) -> dict[str, object]:
    """Return the number format and alignment of a column's cells.

    The number format pads numbers on the right (`_0` is the width of a zero): LibreOffice does not indent the
    last column of a page.
    """
    if kind in _LEFT:
        return {"num_format": NUMBER_FORMATS[kind], **_alignment(kind)}
    sections = NUMBER_FORMATS[kind].split(";")
    return {"num_format": ";".join(f"{section}_0" for section in sections), "align": "right"}


def _alignment(kind: Kind) -> dict[str, object]:
    if kind in _LEFT:
        return {"align": "left", "indent": 1}
    return {"align": "right", "indent": 1}
