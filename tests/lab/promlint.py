"""promlint.py - reads Prometheus' text format as strictly as promtool does.

parse(text) gives {family: (type, {(name, labels): value})} or raises PromError with the
line: HELP and TYPE before the samples and once, families not interleaved, no sample
twice, escapes, histograms cumulative with +Inf equal to _count, counters named _total.
"""
import math
import re

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|\})')
# Words that stand for another unit than the base one.
BAD_UNITS = ("_ms", "_milliseconds", "_minutes", "_kilobytes", "_percent")


class PromError(Exception):
    pass


def labels_of(text):
    """(sorted pairs, rest) of what follows a name."""
    if not text.startswith("{"):
        return (), text
    pairs, at = [], 1
    while True:
        m = LABEL.match(text, at)
        if not m:
            raise PromError("labels of %r" % text)
        pairs.append((m.group(1), m.group(2)))
        at = m.end()
        if m.group(3) == "}":
            break
    if len({p[0] for p in pairs}) != len(pairs):
        raise PromError("a label twice: %r" % text)
    return tuple(sorted(pairs)), text[at:]


def base_of(name, kind):
    if kind == "histogram":
        for suffix in ("_bucket", "_sum", "_count"):
            if name.endswith(suffix):
                return name[:-len(suffix)]
    return name


def check_histogram(family, samples):
    series = {}
    for (name, labels), value in samples.items():
        rest = tuple(p for p in labels if p[0] != "le")
        s = series.setdefault(rest, {"le": []})
        if name.endswith("_bucket"):
            s["le"].append((float(dict(labels)["le"]), value))
        else:
            s[name[len(family):]] = value
    for rest, s in series.items():
        if s["le"] != sorted(s["le"]) or [v for _, v in s["le"]] != sorted(v for _, v in s["le"]):
            raise PromError("%s%r is not cumulative" % (family, rest))
        if "_sum" not in s or s["le"][-1] != (math.inf, s.get("_count")):
            raise PromError("%s%r: +Inf, _count and _sum" % (family, rest))


def parse(text):
    if not text.endswith("\n"):
        raise PromError("the last line has no end")
    families, helps, kinds, current = {}, set(), {}, None
    for line in text[:-1].split("\n"):
        m = re.match(r"# (HELP|TYPE) (\S+) (.*)\Z", line)
        if m:
            what, name, rest = m.groups()
            if not NAME.match(name) or name in (helps if what == "HELP" else kinds):
                raise PromError("name or repetition: " + line)
            if what == "HELP":
                helps.add(name)
                if re.search(r"\\(?![\\n])", rest) or not rest:
                    raise PromError("help text: " + line)
            elif rest not in ("gauge", "counter", "histogram") or name not in helps:
                raise PromError("type: " + line)
            else:
                kinds[name] = rest
                families[name] = (rest, {})
                current = name
            continue
        m = re.match(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(.*)\Z", line)
        if not m or current is None:
            raise PromError("line: %r" % line)
        labels, rest = labels_of(m.group(2))
        if base_of(m.group(1), kinds[current]) != current:
            raise PromError("outside of its family: " + line)
        if not re.match(r" (NaN|[+-]Inf|-?[0-9][0-9.e+-]*)\Z", rest):
            raise PromError("value: " + line)
        key = (m.group(1), labels)
        if key in families[current][1]:
            raise PromError("twice: " + line)
        families[current][1][key] = float(rest)
    for name, (kind, samples) in families.items():
        if (kind == "counter") != name.endswith("_total"):
            raise PromError("%s is a %s" % (name, kind))
        if name.endswith(BAD_UNITS):
            raise PromError("unit of " + name)
        if kind == "histogram":
            check_histogram(name, samples)
    return families


def value(families, name, **labels):
    """One sample's value, or None."""
    family = next((f for f in families if name == f or name.startswith(f + "_")), None)
    if family is None:
        return None
    return families[family][1].get((name, tuple(sorted(labels.items()))))
