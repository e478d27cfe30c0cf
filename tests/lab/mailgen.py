"""mailgen.py - messages for tests and the demonstration: generated ones, or the
files of a folder.  Every message is bytes with CRLF lines, different from every
other one, and the same again for the same seed.
"""
import base64
import os
import random

WORDS = ("pair node standby active commit heartbeat serial mailbox queue message envelope "
         "quota replica journal segment switch failover virtual address resource").split()
CJK = ("日本語のメールです。", "冗長構成の確認。", "邮件服务器切换测试。", "双机热备份。",
       "메일 서버 이중화 시험입니다.", "繁體中文郵件。")
LATIN = ("Grüße aus Köln, ça va bien?", "Zażółć gęślą jaźń", "Ærø, smørrebrød, fjord")


def _text(rng, lines):
    return "\r\n".join(" ".join(rng.choice(WORDS) for _ in range(rng.randint(3, 14)))
                       for _ in range(lines)) + "\r\n"


def _plain(rng, boundary):
    body = _text(rng, rng.randint(1, 60))
    if rng.random() < 0.3:          # lines that begin with dots must survive SMTP
        body = ".\r\n..\r\n.dot\r\n" + body
    return "Content-Type: text/plain; charset=us-ascii\r\n", body.encode()


def _cjk(rng, boundary):
    charset = rng.choice(["utf-8", "iso-2022-jp", "gb18030", "euc-kr", "big5"])
    text = "\r\n".join(rng.choice(CJK) for _ in range(rng.randint(1, 20))) + "\r\n"
    raw = text.encode(charset, "replace")
    if rng.random() < 0.5:
        return ("Content-Type: text/plain; charset=%s\r\nContent-Transfer-Encoding: 8bit\r\n"
                % charset, raw)
    b64 = base64.encodebytes(raw).replace(b"\n", b"\r\n")
    return ("Content-Type: text/plain; charset=%s\r\nContent-Transfer-Encoding: base64\r\n"
            % charset, b64)


def _attachment(rng, boundary):
    size = rng.choice([300, 3000, 30000, 120000])
    data = base64.encodebytes(rng.randbytes(size)).replace(b"\n", b"\r\n")
    name = rng.choice(["report.pdf", "photo.jpg", "=?utf-8?b?5pel5pys6KqeLnR4dA==?="])
    body = (b"--%b\r\nContent-Type: text/plain\r\n\r\n" % boundary + _text(rng, 5).encode() +
            b"\r\n--%b\r\nContent-Type: application/octet-stream; name=\"%b\"\r\n"
            b"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\n\r\n"
            % (boundary, name.encode()) + data + b"\r\n--%b--\r\n" % boundary)
    return "Content-Type: multipart/mixed; boundary=%s\r\n" % boundary.decode(), body


def _broken(rng, boundary):
    """What the world sends: no end boundary, nonsense charsets, bad base64, long lines."""
    kind = rng.randint(0, 5)
    if kind == 0:
        return ("Content-Type: multipart/mixed; boundary=%s\r\n" % boundary.decode(),
                b"--" + boundary + b"\r\n\r\nno end\r\n")
    if kind == 1:
        return "Content-Type: text/plain; charset=x-no-such\r\n", rng.randbytes(400).replace(
            b"\0", b"0").replace(b"\r", b"r").replace(b"\n", b"n") + b"\r\n"
    if kind == 2:
        return ("Content-Type: multipart/; boundary\r\nContent-Transfer-Encoding: base64\r\n",
                b"@@@@ this is not base64 ===\r\n")
    if kind == 3:
        return "Content-Type: text/plain\r\n", b"x" * rng.randint(999, 4000) + b"\r\n"
    if kind == 4:
        return "Content-Type: message/rfc822\r\nno colon here\r\n", b"Subject: in\xffner\r\n\r\n\r\n"
    return "", b""


def generate(count, seed=1):
    """Yields count messages."""
    rng = random.Random(seed)
    for i in range(count):
        boundary = b"b%016x" % rng.getrandbits(64)
        make = rng.choices((_plain, _cjk, _attachment, _broken), (45, 20, 20, 15))[0]
        head, body = make(rng, boundary)
        subject = rng.choice(["message %d" % i, "=?utf-8?q?Gr=C3=BC=C3=9Fe_%d?=" % i,
                              rng.choice(CJK) if make is _cjk else "Re: " + rng.choice(LATIN)])
        top = ("From: Sender %d <sender%d@client.example>\r\n"
               "To: everyone@mail.example.org\r\nSubject: %s\r\n"
               "Date: Mon, 02 Jan 2023 10:%02d:%02d +0000\r\n"
               "Message-ID: <%x.%d@client.example>\r\nMIME-Version: 1.0\r\n"
               % (i, i % 97, subject, i // 60 % 60, i % 60, seed, i))
        yield (top + head + "\r\n").encode("utf-8") + body


def from_dir(path, most=None):
    """Yields the files below a folder, in name order, as CRLF messages."""
    names = sorted(os.path.join(root, f) for root, _, files in os.walk(path) for f in files)
    for name in names[:most]:
        with open(name, "rb") as f:
            data = f.read()
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\0", b"")
        if data and not data.endswith(b"\n"):
            data += b"\n"
        if data:
            yield data.replace(b"\n", b"\r\n")
