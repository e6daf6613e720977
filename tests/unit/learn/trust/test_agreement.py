"""Agreement of self-labels with hidden human ones, by confidence."""

from ser_core.data.tables import Decision
from ser_core.learn.trust.agreement import BANDS, agreement_report


def decision(confidence, kept, agrees):
    return Decision("p", 0.0, 0.0, 1, confidence, 0, kept, confidence, 1.0, agrees)


def test_bands_hold_their_lower_border_and_the_last_also_certainty():
    found = agreement_report([decision(confidence, True, True) for confidence in BANDS])
    assert [band["all"]["pairs"] for band in found["bands"]] == [1] * (len(BANDS) - 2) + [2]
    assert found["bands"][0]["low"] == 0.5


def test_pairs_without_a_human_label_are_left_out():
    found = agreement_report([decision(0.7, True, True), decision(0.7, False, False), decision(0.7, True, None)])
    assert found["all"] == {"pairs": 2, "agreement": 0.5}
    assert found["kept"] == {"pairs": 1, "agreement": 1.0}


def test_agreement_of_nothing_is_null():
    assert agreement_report([])["kept"] == {"pairs": 0, "agreement": None}
