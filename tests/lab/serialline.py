"""serialline.py - a serial line between two lab nodes, made of two ptys.

Prints the two device names on one line, then carries bytes both ways until it is
killed.  A line "cut" written into the named pipe of its argument makes it drop
every byte, "heal" ends that.  Bytes that no one reads are dropped, as a real line
does it.
"""
import os
import select
import sys
import tty


def main():
    a, a_name = os.openpty()
    b, b_name = os.openpty()
    for fd in (a, a_name, b, b_name):
        os.set_blocking(fd, False)
    tty.setraw(a_name)
    tty.setraw(b_name)
    print(os.ttyname(a_name), os.ttyname(b_name), flush=True)
    # The slave ends stay open here: a node that dies must not hang the line up.
    control = os.open(sys.argv[1], os.O_RDWR | os.O_NONBLOCK)
    poll = select.poll()
    for fd in (a, b, control):
        poll.register(fd, select.POLLIN)
    cut = False
    pending = b""
    while True:
        for fd, _ in poll.poll():
            if fd == control:
                pending += os.read(control, 4096)
                while b"\n" in pending:
                    word, pending = pending.split(b"\n", 1)
                    cut = word == b"cut"
                continue
            try:
                data = os.read(fd, 4096)
                if data and not cut:
                    os.write(b if fd == a else a, data)
            except BlockingIOError:
                pass
            except OSError:
                return


if __name__ == "__main__":
    sys.exit(main())
