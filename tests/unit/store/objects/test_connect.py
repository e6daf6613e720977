"""A storage that no client can be made for is refused by its fields."""

import pytest

from ser_core.api.spec.storage import StorageSpec
from ser_core.errors import SpecError
from ser_core.store.objects.connect import connect


@pytest.mark.parametrize("fields", [{"region": "0"}, {"endpoint": "http://["}])
def test_an_endpoint_or_region_that_only_earlier_versions_admitted_is_named(fields):
    storage = StorageSpec.model_validate({"uri": "s3://bucket/runs", **fields})
    with pytest.raises(SpecError, match=r"storage\.endpoint .* or storage\.region .* cannot be used"):
        connect(storage)
