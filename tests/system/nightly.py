# What parsers of other people read in the outputs of a night: JUnit XML by junitparser, OpenMetrics by the reference
# parser of prometheus_client, both as Debian packages them. Prints it as JSON; any error of theirs ends it.
import json
import pathlib
import sys

from junitparser import JUnitXml
from prometheus_client.openmetrics.parser import text_string_to_metric_families

folder = pathlib.Path(sys.argv[1])
document = JUnitXml.fromfile(str(folder / "junit.xml"))
suites = [suite for suite in document]
cases = [case for suite in suites for case in suite]
results = {"Failure": 0, "Error": 0, "Skipped": 0}
for case in cases:
    for result in case.result:
        results[type(result).__name__] += 1
families = list(text_string_to_metric_families((folder / "metrics.txt").read_text()))
samples = {
    "{}/{}".format(sample.labels.get("scenario", sample.name), sample.labels.get("figure", "")): sample.value
    for family in families
    for sample in family.samples
}
print(
    json.dumps(
        {
            "suites": [[s.name, s.tests, s.failures, s.errors, s.skipped] for s in suites],
            "cases": [[case.classname, case.name] for case in cases],
            "results": results,
            "families": {family.name: family.type for family in families},
            "samples": samples,
        }
    )
)
