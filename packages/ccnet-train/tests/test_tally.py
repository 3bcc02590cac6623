from ccnet_train.tally import Tally


def test_what_was_counted_before_a_kill_is_counted_once_more_after_it():
    before, after = Tally(replaced=["a", "b"], earlier=3, skipped=2, in_a_row=1), Tally()
    after.load_state_dict(before.state_dict(replaced=5))
    assert after.counts(replaced=1) == {"replaced": 9, "skipped": 2}
    assert after.in_a_row == 1


def test_after_it_was_logged_counting_begins_anew():
    tally = Tally(replaced=["a"], earlier=3, skipped=2, in_a_row=2)
    assert tally.counts(replaced=1) == {"replaced": 4, "skipped": 2}
    assert tally.counts(replaced=0) == {}
    assert tally.in_a_row == 2
