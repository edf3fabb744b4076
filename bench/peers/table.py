"""Tables for people."""


def columns(head, lines):
    """Text in columns: the first to the left, the others to the right."""
    cells = [head, *lines]
    widths = [max(len(line[place]) for line in cells) for place in range(len(head))]

    def one(line):
        first = line[0].ljust(widths[0])
        return "  ".join(
            [first, *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))]
        ).rstrip()

    return "\n".join(one(line) for line in cells)


def of_rows(rows):
    """The table of `summary.rows`."""
    head = [
        "setting",
        "tokens/s",
        "prompt tokens/s",
        "accepted",
        "against best llama",
        "against own plain",
    ]

    def spread_text(spread, decimals):
        return spread.text(decimals) if spread else "-"

    lines = [
        [
            row.setting,
            spread_text(row.speed, 1),
            spread_text(row.prompt_speed, 0),
            "-" if row.acceptance_rate is None else f"{100 * row.acceptance_rate:.0f} %",
            spread_text(row.against_best_peer, 2),
            spread_text(row.against_own_plain, 2),
        ]
        for row in rows
    ]
    return columns(head, lines)
