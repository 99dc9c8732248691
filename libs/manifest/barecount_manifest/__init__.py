"""Pure: parse, validate, merge, diff, effective manifest; data contracts; column lineage.

    parse(text | dict) -> Manifest                 every problem at once, as ManifestInvalid
    digest(dict) -> "sha256:…"                     over RFC 8785
    merge(base, patch) / diff(a, b) / effective(base, override)
    validate_contract(dict) -> problems            ODCS, by the official JSON Schema
    column_lineage(manifest, schemas)              which input column every output column comes from

Errors: ManifestError with ManifestInvalid, ContractInvalid and NotCanonical below it (`errors.py`).
"""

from .canonical import canonical_bytes, digest
from .checks import expectations
from .contracts import (
    Checks,
    Field,
    RowRule,
    TableRule,
    checks_of,
    contract_object,
    fields_of,
    json_schema_of,
    validate_contract,
)
from .errors import ContractInvalid, ManifestError, ManifestInvalid, NotCanonical, Problem, pointer
from .expect import holds
from .fields import RESERVED_PIPELINE_NAMES
from .lineage import ColumnLineage, InputColumn, column_lineage
from .model import (
    API_VERSION,
    CheckStage,
    ContractReference,
    Dlq,
    Drift,
    Governance,
    Manifest,
    Partitioning,
    PublishStage,
    QualityRule,
    ReadStage,
    ReconciliationRule,
    ReplayGovernance,
    Retry,
    Schedule,
    Sink,
    Source,
    SqlStage,
    Stage,
    VolumeDrift,
)
from .objectives import Slo
from .parsing import Effective, effective, load, parse, referenced_contracts, validate
from .patch import ABSENT, Change, diff, merge, same
from .sql import check_sql, tables_of

__all__ = [
    "ABSENT", "API_VERSION", "RESERVED_PIPELINE_NAMES", "Change", "CheckStage", "Checks", "ColumnLineage", "ContractInvalid",
    "ContractReference", "Dlq", "Drift", "Effective", "Field", "Governance", "InputColumn", "Manifest", "ManifestError",
    "ManifestInvalid", "NotCanonical", "Partitioning", "Problem", "PublishStage", "QualityRule", "ReadStage", "ReconciliationRule",
    "ReplayGovernance", "Retry", "RowRule", "Schedule", "Sink", "Slo", "Source", "SqlStage", "Stage", "TableRule", "VolumeDrift",
    "canonical_bytes", "check_sql", "checks_of", "column_lineage", "contract_object", "diff", "digest", "effective", "expectations",
    "fields_of", "holds", "json_schema_of", "load", "merge", "parse", "pointer", "referenced_contracts", "same", "tables_of",
    "validate", "validate_contract",
]  # fmt: skip
