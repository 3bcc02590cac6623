from ccnet_train.bootstrap import Interval
from ccnet_train.metrics import Scores
from ccnet_train.score_table import table


def test_the_table_is_in_percent_and_marks_absent_classes():
    scores = Scores(miou=0.5, macc=0.75, aacc=0.9, iou=(0.5, float("nan")), accuracy=(0.75, float("nan")))
    assert table(scores, ("road", "bicycle"), Interval(0.4, 0.625)).splitlines() == [
        "mIoU 50.00 (40.00 to 62.50)  mAcc 75.00  aAcc 90.00",
        "",
        "class      IoU    Acc",
        "road     50.00  75.00",
        "bicycle      -      -",
    ]
