from ccnet_data.errors import DataError
from ccnet_data.options import Fault
from ccnet_data.source import faults_of


def fail():
    raise DataError("No such folder.")


def test_faults_are_collected_under_the_option_of_their_step():
    assert faults_of(classes=lambda: None, root=fail, files=fail) == [
        Fault("root", "No such folder."),
        Fault("files", "No such folder."),
    ]
