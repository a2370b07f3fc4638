"""What is said beside the table."""

from __future__ import annotations

import logging
import warnings

import pytest

from emc.cli.display import plain_warnings, saying


def test_what_is_picked_is_said_once_and_only_if_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("emc")
    level = logger.level
    with saying(True):
        for text in ("trainer one", "trainer two", "trainer one"):
            logger.info(text)
        logger.debug("a detail")
    with saying(False):
        logger.info("trainer three")
    logger.info("trainer four")
    assert capsys.readouterr() == ("", "trainer one\ntrainer two\n")
    assert (logger.level, logger.handlers) == (level, [])


def test_a_warning_is_one_line_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with plain_warnings():
            warnings.warn("odd", stacklevel=1)
            warnings.warn("odd", stacklevel=1)
    assert capsys.readouterr().err == "warning: odd\n"
