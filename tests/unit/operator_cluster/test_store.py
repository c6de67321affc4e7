"""The store of what the watches have shown."""

from zo_operator import names
from zo_operator.cluster.kinds import CONFIG_MAP, JOB, POD, RESOURCE
from zo_operator.cluster.store import Store

UID = "uid-r"


def body(name, version, uid=None, **more):
    labels = {names.LABEL_UID: UID}
    meta = {
        "name": name,
        "namespace": "ns",
        "uid": uid or f"uid-{name}",
        "resourceVersion": str(version),
        "labels": labels,
    }
    return {"metadata": meta, **more}


def make():
    touched = []
    return Store(touched.append), touched


def test_children_are_found_by_the_resources_uid():
    store, touched = make()
    store.put(RESOURCE, body("r", 1, UID, spec={}))
    store.put(JOB, body("j", 2, spec={"suspend": False, "template": {"big": 1}}))
    store.put(POD, body("p", 3, spec={"big": 1}, status={"phase": "Running"}))
    observed = store.observe(UID)
    assert [job["metadata"]["name"] for job in observed.jobs] == ["j"]
    assert store.resource(UID)["metadata"]["name"] == "r"
    assert touched == [UID] * 3
    assert store.size() == {"ZOFineTune": 1, "Job": 1, "Pod": 1}


def test_only_what_is_read_is_kept():
    store, _ = make()
    store.put(JOB, body("j", 2, spec={"suspend": False, "template": {"big": 1}}))
    store.put(POD, body("p", 3, spec={"big": 1}, status={"phase": "Running", "qosClass": "x"}))
    store.put(CONFIG_MAP, body("c", 4, immutable=True, data={"a": "b"}))
    store.put(CONFIG_MAP, body("record", 5, data={"a": "b"}))
    observed = store.observe(UID)
    assert "template" not in observed.jobs[0]["spec"]
    assert "spec" not in observed.pods[0]
    assert [("data" in found) for found in observed.config_maps] == [False, True]


def test_an_older_version_never_replaces_a_newer_one():
    store, touched = make()
    store.put(JOB, body("j", 10, spec={"suspend": True}))
    store.put(JOB, body("j", 9, spec={"suspend": False}))
    store.put(JOB, body("j", 10, spec={"suspend": False}))
    assert store.observe(UID).jobs[0]["spec"]["suspend"] is True
    assert len(touched) == 1


def test_versions_compare_as_numbers():
    store, _ = make()
    store.put(JOB, body("j", 99, spec={"suspend": True}))
    store.put(JOB, body("j", 100, spec={"suspend": False}))
    assert store.observe(UID).jobs[0]["spec"]["suspend"] is False


def test_a_late_answer_does_not_bring_back_what_is_gone():
    store, _ = make()
    store.put(JOB, body("j", 10, spec={}))
    store.drop(JOB, body("j", 11))
    store.put(JOB, body("j", 12, spec={}))
    assert store.observe(UID).jobs == ()
    store.put(JOB, body("j", 13, uid="another", spec={}))
    assert len(store.observe(UID).jobs) == 1


def test_a_late_deletion_leaves_the_namesake_alone():
    store, _ = make()
    store.put(JOB, body("j", 13, uid="another", spec={}))
    store.drop(JOB, body("j", 11))
    assert len(store.observe(UID).jobs) == 1


def test_a_list_removes_what_it_lacks_and_nothing_that_came_meanwhile():
    store, touched = make()
    store.put(JOB, body("old", 1, spec={}))
    store.put(JOB, body("kept", 2, spec={}))
    before = store.known(JOB)
    store.put(JOB, body("meanwhile", 5, spec={}))
    store.put(JOB, body("kept", 6, spec={"suspend": True}))
    store.replace(JOB, [body("kept", 2, spec={})], before)
    left = {job["metadata"]["name"]: job for job in store.observe(UID).jobs}
    assert set(left) == {"kept", "meanwhile"}
    assert left["kept"]["spec"] == {"suspend": True}
    assert touched.count(UID) == 5


def test_nothing_is_left_of_a_resource_that_is_gone():
    store, _ = make()
    store.put(RESOURCE, body("r", 1, UID, spec={}))
    store.put(JOB, body("j", 2, spec={}))
    assert store.uids() == [UID]
    store.drop(JOB, body("j", 3))
    store.drop(RESOURCE, body("r", 4, UID))
    assert store.uids() == []
    assert list(store.resources()) == []
