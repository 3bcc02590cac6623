import ccnet_core as ccnet
from ccnet_core.errors import LONGEST_MESSAGE, nearest


def test_long_message_keeps_its_beginning_and_its_end():
    message = str(ccnet.WeightsError(f"config.json: name: {'x' * 10**6} is wrong. Save it again."))
    assert len(message) < LONGEST_MESSAGE + 10
    assert message.startswith("config.json: name: xxx")
    assert message.endswith("xxx is wrong. Save it again.")


def test_message_of_usual_length_is_left_alone():
    assert str(ccnet.CCNetError("x" * LONGEST_MESSAGE)) == "x" * LONGEST_MESSAGE


def test_nearest_names_what_begins_so_or_is_close_or_everything():
    assert nearest("chan", ["channels", "kernel_size"]) == " Did you mean 'channels'?"
    assert nearest("chanels", ["channels", "kernel_size"]) == " Did you mean 'channels'?"
    assert nearest("x" * 10**6, ["b", "a"]) == " Known: a, b."
