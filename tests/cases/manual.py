#!/usr/bin/python3
"""manual.py - the manual pages of hagentd and hactl say what the source says, and nothing
else: options, exit codes, metrics, defaults.  Reads both as text and runs nothing.
"""
import glob
import os
import re

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def read(*names):
    text = ""
    for name in names:
        for path in sorted(glob.glob(os.path.join(TOP, name))):
            with open(path, encoding="utf-8") as f:
                text += f.read()
    return text


def same(what, source, page):
    """Two sets of words; an empty one was not found, which is no agreement."""
    if source and source == page:
        print("ok manual: %s (%d)" % (what, len(source)))
    else:
        print("not ok manual: %s: only in the source: %s; only in the page: %s" % (
            what, sorted(source - page), sorted(page - source)))


def options():
    page = read("hagent/hactl.8")
    # The text of HINTs and examples names options of other programs by other macros.
    same("options of hactl",
         set(re.findall(r'\{ *"([a-z-]+)", (?:no|required)_argument', read("hagent/hactl*.[ch]"))),
         set(re.findall(r"Fl -([a-z][a-z-]*)", page))
         | set(re.findall(r"hactl --([a-z]+)", page)))
    usage = re.search(r'"usage: hagentd (.*?)\\n"', read("hagent/hagentd.c")).group(1)
    page = read("hagent/hagentd.8")
    items = " ".join(re.findall(r"^\.It Fl (.*)$", page, re.M))
    same("options of hagentd", set(re.sub(r"\[-([a-zA-Z]+)[^]]*\]| ", r"\1", usage)),
         set(re.findall(r"\b[a-zA-Z]\b", items)))


def codes():
    enum = re.search(r"enum ctl_exit \{(.*?)\}", read("lib/ctl.h"), re.S).group(1)
    for page in ("hagent/hactl.8",):
        said = read(page).split(".Sh EXIT STATUS")[1]
        same("exit codes in " + page, set(re.findall(r"= (\d+)", enum)),
             set(re.findall(r"^\.It (\d+)$", said, re.M)))


def metrics():
    same("metrics", set(re.findall(r'"(mailpair_[a-z_]+)"', read("hagent/agent_metrics.c"))),
         set(re.findall(r"mailpair_[a-z_]+", read("hagent/hagentd.8"))))


def defaults():
    """Of numbers and switches: "Ic name Pq 5", or "Ic name" with "(5" in the next line."""
    source = {}
    for name, value in re.findall(r'CFG_(?:INT|BOOL)\("([a-z0-9-]+)", (?:cfg_)?([a-z0-9]+),',
                                  read("hagent/hagent_conf.c")):
        source.setdefault(name, set()).add(value)
    page = read("hagent/hagent.conf.5")
    said = dict(re.findall(r"\bIc ([a-z0-9-]+) Pq ([^\n, ]+)", page)
                + re.findall(r"^\.Ic ([a-z0-9-]+)(?: [:,])?\n\(([a-z0-9]+)", page, re.M))
    same("options of hagent.conf with a number or a switch", set(source),
         {n for n in said if n in source})
    wrong = ["%s: %s, not %s" % (n, v, said[n]) for n, v in sorted(source.items())
             if n in said and said[n] not in v]
    print("%s manual: defaults of hagent.conf %s" % ("not ok" if wrong else "ok", wrong or ""))


options()
codes()
metrics()
defaults()
