"""Passwords in addresses are shown to nobody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.redact import redact, scrub


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("rtsp://admin:hunter2@10.0.0.7:554/live", "rtsp://***@10.0.0.7:554/live"),
        ("rtsp://10.0.0.7/live?user=a&pw=hunter2", "rtsp://10.0.0.7/live?user=***&pw=***"),
        ("https://x.org/a.m3u8?hunter2", "https://x.org/a.m3u8?***"),
        ("rtmp://live.example/app/hunter2", "rtmp://live.example/app/***"),
        ("rtmps://u:hunter2@h/app/key?k=v", "rtmps://***@h/app/***?k=***"),
        ("rtsp://admin:p@ss/w?rd@cam/1", "rtsp://***@cam/1"),
        ("srt://h:9000?passphrase=hunter2;mode=x", "srt://h:9000?passphrase=***;mode=***"),
        ("udp://239.0.0.1:1234", "udp://239.0.0.1:1234"),
        ("/dev/video0", "/dev/video0"),
        ("C:/films/a.mp4", "C:/films/a.mp4"),
    ],
)
def test_redact(address: str, shown: str) -> None:
    assert redact(address) == shown


def test_the_stop_behind_an_address_stays_however_often_it_is_redacted() -> None:
    """Of "rtmp://…/***: nobody listens there" the colon went the second time, as a part of the stream key."""
    said = "rtmp://live.example/app/hunter2: nobody listens there; see rtsp://u:hunter2@cam/1."
    shown = "rtmp://live.example/app/***: nobody listens there; see rtsp://***@cam/1."
    assert redact(said) == redact(redact(said)) == shown


def test_scrub_finds_addresses_and_lone_passwords_in_a_sentence() -> None:
    source = "rtsp://admin:hunter2@cam/live"
    said = f"[rtsp @ 0x1] method DESCRIBE of '{source}' failed, password hunter2 refused"
    assert scrub(said, [source]) == "[rtsp @ 0x1] method DESCRIBE of 'rtsp://***@cam/live' failed, password *** refused"


def test_scrub_leaves_words_alone_that_are_too_short_to_be_told_apart() -> None:
    assert scrub("a cat sat", ["rtsp://u:a@cam/1"]) == "a cat sat"


@pytest.mark.parametrize("secret", ["pass", "password", "word", "stream"])
def test_a_password_that_is_a_word_of_ours_does_not_show_by_being_left_out(secret: str) -> None:
    """`/ and # in a ***word are %2F and %23` altered the sentence, and told the password."""
    address = f"rtsp://admin:{secret}@cam/1"
    said = f"{address}: the stream is no address; / and # in a password are %2F and %23"
    shown = said.replace(f"admin:{secret}", "***")
    assert scrub(said, [address]) == scrub(scrub(said, [address]), [address]) == shown


def test_what_a_library_says_keeps_its_words_but_not_the_password() -> None:
    """A secret is one where it stands as a whole."""
    said = scrub("login 'pass' with password pass_1 failed, passed on, pass", ["rtsp://u:pass@cam/1"], foreign=True)
    assert said == "login '***' with password ***_1 failed, passed on, ***"
    assert scrub("port 12345 and key 1234", ["udp://h:1?k=1234"]) == "port 12345 and key ***"


@pytest.mark.parametrize("address", ["udp://h:1/out?tok=hunter2", "rtmp://h/app/hunter2", "rtsp://u:hunter2@h/1"])
def test_a_sentence_goes_on_behind_an_address(address: str) -> None:
    """`…?tok=*** nobody takes it`: the colon was taken for a part of what is secret."""
    shown = redact(address)
    said = f"{shown}: nobody takes {shown}, or {shown}."
    assert redact(f"{address}: nobody takes {address}, or {address}.") == redact(said) == scrub(said, [address]) == said


def test_an_address_that_no_pattern_finds_is_hidden_where_it_is_known() -> None:
    """A space in a password ends every pattern."""
    address = "rtsp://admin:hun ter2'@cam/1"
    assert scrub(f"{address}: no answer, password hun ter2'", [address]) == "rtsp://***@cam/1: no answer, password ***"


@pytest.mark.skipif(sys.platform != "linux", reason="the command line is overwritten on Linux only")
def test_the_command_line_does_not_keep_a_password() -> None:
    code = (
        "import sys; from pipeline.redact import hide_arguments; ok = hide_arguments(sys.argv[1:]);"
        "print(ok, flush=True); sys.stdin.read()"
    )
    address = "rtsp://admin:hunter2@cam/live"
    with subprocess.Popen(
        [sys.executable, "-c", code, address, "out.mkv"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        line = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.communicate("")
    assert b"hunter2" not in line
    assert b"rtsp://***@cam/live" in line
    assert b"out.mkv" in line
