"""lint_rules.py - our own rules: each option of a *_conf.c stands in the shipped file
and in a man page of its component; components include only their own headers and
lib's; no file grows over 1,000 lines; calls that we do not use.
"""
import glob
import os
import re
import sys

os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHIPPED = {"hagent": "etc/hagent.conf", "syncer": "etc/syncd.conf", "mail": "etc/maild.conf"}
FORBIDDEN = r"\b(strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|system|popen|tmpnam|strtok)\s*\("
wrong = []


def read(path):
    with open(path, errors="replace") as f:
        return f.read()


def options():
    for part, shipped in SHIPPED.items():
        tables = "".join(read(f) for f in glob.glob(part + "/*_conf.c"))
        names = re.findall(r'CFG_(?:SIMPLE_)?[A-Z]+(?:_LIST)?(?:_CB)?\(\s*"([^"]+)"', tables)
        manual = "".join(read(f) for f in glob.glob(part + "/*.[58]"))
        manual = manual.replace("\\-", "-")
        example = read(shipped) if os.path.exists(shipped) else ""
        for name in sorted(set(names)):
            word = r"(?<![\w-])%s(?![\w-])" % re.escape(name)
            if not re.search(word, example):
                wrong.append("%s: option %s is not in it" % (shipped, name))
            if not re.search(word, manual):
                wrong.append("%s/: option %s is in no man page" % (part, name))


def includes():
    for part in ("lib", "hagent", "syncer", "mail"):
        for path in glob.glob(part + "/*.[ch]"):
            for name in re.findall(r'^#include "([^"]+)"', read(path), re.M):
                if not any(os.path.exists(d + "/" + name) for d in (part, "lib")):
                    wrong.append("%s: includes %s of another component" % (path, name))


def texts():
    for path in glob.glob("*/*.[ch]") + glob.glob("tests/unit/*/*.[ch]"):
        text = read(path)
        if text.count("\n") > 1000:
            wrong.append("%s: %d lines" % (path, text.count("\n")))
        code = re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\])*"', "", text, flags=re.S)
        if not path.startswith("tests/"):
            for name in re.findall(FORBIDDEN, code):
                wrong.append("%s: calls %s()" % (path, name))
        if re.search(r"\bTODO\b|\bFIXME\b", text):
            wrong.append("%s: unfinished mark" % path)
        if not text.startswith("/*"):
            wrong.append("%s: no comment at its head" % path)


def names():
    seen = {}
    for path in glob.glob("*/*.[ch]"):
        if path.startswith("tests/"):
            continue
        base = os.path.basename(path)
        if base in seen:
            wrong.append("%s: the name is taken by %s" % (path, seen[base]))
        seen[base] = path


options()
includes()
texts()
names()
for line in wrong:
    print("rule: " + line)
sys.exit(1 if wrong else 0)
