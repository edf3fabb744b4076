"""What is printed: figures, ratios, targets, in words."""

from figures import best, ratio, rows

OFF, OWN = "speckv:off", "speckv:speckv"
TARGET_ALONE, TARGET_NEVER_BELOW, TARGET_PEER = 1.4, 0.97, 1.5


def figures(blocks):
    """Rows of figures, by number of clients."""
    lines = [
        f"{'clients':>7}  {'setting':<18} {'tokens/s':>8} {'(rounds)':<14} {'TTFT p50':>8} {'p95':>6} {'ITL p50':>8} {'p95':>6} {'drafted':>8} {'accepted':>8}",
        f"{'':>7}  {'':<18} {'':>8} {'':<14} {'ms':>8} {'ms':>6} {'ms':>8} {'ms':>6} {'/token':>8} {'/drafted':>8}",
    ]
    for one in rows(blocks):
        spread = f"({one.lowest:.1f}-{one.highest:.1f})" if one.rounds > 1 else "(one)"
        times = [
            1000 * value
            for value in (one.first_token_p50, one.first_token_p95, one.gap_p50, one.gap_p95)
        ]
        accepted = "-" if one.acceptance_rate is None else f"{one.acceptance_rate:.2f}"
        lines.append(
            f"{one.clients:>7}  {one.setting:<18} {one.tokens_per_second:>8.1f} {spread:<14} {times[0]:>8.0f} {times[1]:>6.0f} {times[2]:>8.1f} {times[3]:>6.0f}"
            f" {one.drafted_per_token:>8.2f} {accepted:>8}"
        )
    return "\n".join(lines)


def comparisons(blocks):
    """`speckv` to `off`, to every fixed setting and to the best of llama-server, by number of
    clients.
    """
    found = rows(blocks)
    llama = {one.setting for one in found if one.setting.startswith("llama:")}
    own = sorted({one.setting for one in found if one.setting.startswith("speckv:")} - {OWN})
    ratios = []
    for clients in sorted({one.clients for one in found}):
        for under in [*own, best(found, clients, llama)]:
            if under and (one := ratio(blocks, clients, OWN, under)):
                ratios.append(one)
    return ratios


def ratios_in_words(ratios):
    """A line per ratio."""
    lines = [
        f"{OWN} to ...: throughput (lowest to highest round); tokens per second of an answer, median (quartiles), paired by prompt"
    ]
    for one in ratios:
        lines.append(
            f"{one.clients:>7}  {one.under:<18} {one.throughput:.2f} ({one.lowest:.2f}-{one.highest:.2f});"
            f" {one.answer:.2f} ({one.lower_quartile:.2f}-{one.upper_quartile:.2f})"
        )
    return "\n".join(lines)


def verdict(ratios):
    """The targets in words, each with its figures."""
    own = {one.clients: one.throughput for one in ratios if one.under == OFF}
    peer = {one.clients: one.throughput for one in ratios if one.under.startswith("llama:")}
    words = []
    if 1 in own:
        words.append(
            (
                own[1] >= TARGET_ALONE,
                f"speckv at one client: {own[1]:.2f} x off, target {TARGET_ALONE}",
            )
        )
    if own:
        worst = min(own, key=own.get)
        words.append(
            (
                own[worst] >= TARGET_NEVER_BELOW,
                f"speckv at worst, at {worst} clients: {own[worst]:.2f} x off, target {TARGET_NEVER_BELOW}",
            )
        )
    if peer:
        worst = min(peer, key=peer.get)
        words.append(
            (
                peer[worst] >= TARGET_PEER,
                f"speckv at worst, at {worst} clients: {peer[worst]:.2f} x llama-server's best, target {TARGET_PEER}",
            )
        )
    return [f"{'met' if met else 'MISSED'}: {text}" for met, text in words]
