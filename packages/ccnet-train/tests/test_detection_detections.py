import numpy as np

from ccnet_train.detection import Detections


def test_above_keeps_what_scores_at_least_the_threshold():
    found = Detections(
        boxes=np.arange(12, dtype=np.float32).reshape(3, 4),
        classes=np.array([4, 5, 6]),
        scores=np.array([0.9, 0.5, 0.1], np.float32),
        masks=np.eye(3, dtype=bool)[:, None],
    )
    kept = found.above(0.5)
    assert len(kept) == 2
    assert kept.boxes.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert kept.classes.tolist() == [4, 5]
    assert kept.scores.tolist() == found.scores[:2].tolist()
    assert kept.masks.tolist() == [[[True, False, False]], [[False, True, False]]]
