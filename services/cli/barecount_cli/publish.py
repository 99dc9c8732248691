"""`barecount publish` and `barecount publishers`: systems that append signed commands to the topic, and read the outcome there."""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
import yaml
from barecount_contracts import SIGNATURE_HEADER, Envelope, EnvelopeError, murmur2, parse, problem_types

from . import output
from .client import Client
from .errors import USAGE, CliError, ProblemError, WaitTimeoutError
from .settings import CliSettings
from .signing import SignedCommand, make_key, public_of, read_key, sign
from .writing import told

INBOX, EVENTS = "pipelines.commands", "control.events"
REFUSALS: Final = ("CommandRefused", "RecordRejected")
LARGEST: Final = 8_388_608  # what the broker takes: what is too large for a command is answered, not lost

Output = Annotated[Literal["table", "json"], typer.Option("--output", "-o", help="table for people, json for programs")]
Tenant = Annotated[str | None, typer.Option("--tenant", help="Whose publisher it is")]
Key = Annotated[Path | None, typer.Option("--key", help="The private key (PEM); otherwise that of this name in the state folder")]


def commands(explained: Callable[[Any], Any]) -> typer.Typer:
    """The group `publishers`. explained: how the CLI shows what went wrong."""
    group = typer.Typer(no_args_is_help=True, help="Systems that publish signed commands to the topic.")
    for name, function in {"register": register, "list": list_, "revoke": revoke}.items():
        group.command(name)(explained(function))
    return group


def register(
    name: str,
    role: Annotated[list[str], typer.Option("--role", help="What its commands may do; may be repeated")],
    key: Key = None,
    description: Annotated[str, typer.Option()] = "",
    tenant: Tenant = None,
    output_: Output = "table",
) -> None:
    """Register a system with its key; without a key file one is made. With another key the former one is void."""
    settings = CliSettings()
    path = key or key_file(settings, tenant, name)
    made = make_key(path)
    body = {"name": name, "public_key": public_of(made), "roles": role, "description": description}
    answer = Client.of(settings, tenant=tenant).write("POST", "/publishers", body)
    words = f"{tenant or settings.tenant}/{name} may publish as {', '.join(role)}; its key is {path}"
    return told(answer, words, output_, key_file=str(path))


def list_(tenant: Tenant = None, output_: Output = "table") -> None:
    """List the systems, with those that were revoked."""
    found = list(Client.of(CliSettings(), tenant=tenant).items("/publishers"))
    if output_ == "json":
        return output.as_json(found)
    rows = [(one["kid"], ", ".join(one["roles"]), one["public_key"], one["registered_by"], one["revoked_at"]) for one in found]
    return output.table("Publishers", ("kid", "roles", "public key", "registered by", "revoked"), rows)


def revoke(name: str, tenant: Tenant = None, output_: Output = "table") -> None:
    """Take the right to publish away, from the next record on."""
    answer = Client.of(CliSettings(), tenant=tenant).write("DELETE", f"/publishers/{name}")
    return told(answer, f"{name} publishes nothing more", output_)


def publish(
    file: Annotated[Path, typer.Argument(help="YAML or JSON {type, version?, data}; - reads it from stdin")],
    publisher: Annotated[str | None, typer.Option("--publisher", "-p", help="Its name; otherwise the only one with a key here")] = None,
    key: Key = None,
    jti: Annotated[str | None, typer.Option("--jti", help="Names this command once for ever; otherwise random")] = None,
    ttl: Annotated[int, typer.Option(help="Seconds that the signature is valid, by the broker's clock")] = 300,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the outcome in control.events")] = True,
    timeout: Annotated[float, typer.Option(help="Seconds to wait")] = 30.0,
    tenant: Tenant = None,
    output_: Output = "table",
) -> None:
    """Sign a command, append it to the topic pipelines.commands, and show its outcome. Exit code 5: it was refused."""
    settings = CliSettings()
    asked = command_of(file)
    name = publisher or only_publisher(settings, tenant)
    signed = sign(
        read_key(key or key_file(settings, tenant, name)),
        tenant=tenant or settings.tenant,
        publisher=name,
        asked=asked,
        jti=jti or str(uuid.uuid4()),
        exp=int(time.time()) + ttl,
    )
    event = asyncio.run(send(settings.kafka(), (tenant or settings.tenant).encode(), signed, timeout if wait else None))
    shown = {"command_id": str(signed.command_id), "event": event and {"type": event.type, "data": event.data}}
    if event is not None and event.type in REFUSALS:
        code = str(event.data.get("code"))
        remedy = problem_types()[code].remedy if code in problem_types() else ""
        raise ProblemError({**event.data, "remedy": remedy}, problem_types()[code].status if code in problem_types() else 0)
    if output_ == "json":
        return output.as_json(shown)
    words = f"{event.type} {_told(event.data)}" if event is not None else "published"
    return output.console.print(f"{words} (command {signed.command_id})", highlight=False, soft_wrap=True)


async def send(kafka: dict[str, Any], key: bytes, signed: SignedCommand, timeout: float | None) -> Envelope | None:
    """Appends the record and returns the event that answers it; None without a timeout (seconds). Raises: CliError."""
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
    from aiokafka.errors import KafkaError

    # no group: one reader from the end of one partition
    consumer = AIOKafkaConsumer(**kafka, group_id=None, isolation_level="read_committed", auto_offset_reset="none")
    producer = AIOKafkaProducer(**kafka, enable_idempotence=True, max_request_size=LARGEST)
    try:
        async with asyncio.timeout(timeout or 30):
            await producer.start()
            # Kafka's default partitioner; the owner of the partition refuses what stands in another
            partition = murmur2(key) % len(await producer.partitions_for(INBOX))
            if timeout is not None:
                await consumer.start()
                consumer.assign([TopicPartition(EVENTS, partition)])
                await consumer.seek_to_end()
            sent = await producer.send_and_wait(INBOX, signed.value, key, partition, headers=[(SIGNATURE_HEADER, signed.jws)])
            return None if timeout is None else await _outcome(consumer, partition, sent.offset)
    except TimeoutError as error:
        raise WaitTimeoutError(
            f"command {signed.command_id} has no outcome after {timeout or 30:.0f} s",
            f"Ask later: `barecount api get /commands/{signed.command_id}`.",
        ) from error
    except KafkaError as error:
        raise CliError(
            f"Kafka at {kafka['bootstrap_servers']} did not take the command: {error}",
            "Check BARECOUNT_KAFKA_BOOTSTRAP, BARECOUNT_KAFKA_USERNAME and BARECOUNT_KAFKA_PASSWORD, or start the stack.",
        ) from error
    finally:
        await producer.stop()
        await consumer.stop()


async def _outcome(consumer: Any, partition: int, offset: int) -> Envelope:
    """The event whose cause is the record: also a record that was rejected before anyone knew whose it is has one."""
    async for record in consumer:
        try:
            event = parse(record.value)
        except EnvelopeError:
            continue
        cause = event.cause
        if cause is not None and (cause.topic, cause.partition, cause.offset, cause.index) == (INBOX, partition, offset, 0):
            return event
    raise AssertionError("a consumer's iteration ends with its consumer only")


def command_of(file: Path) -> dict[str, Any]:
    """{type, version, data} of the file. Raises: CliError."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
        told = yaml.load(text, _Texts)
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{file} cannot be read: {error}", "Name a file, or - for stdin.") from error
    except yaml.YAMLError as error:
        raise CliError(f"{file} is neither JSON nor YAML: {error}", "Correct the place that it names.") from error
    if not isinstance(told, dict) or not isinstance(told.get("type"), str) or not isinstance(told.get("data"), dict):
        raise _usage(f"{file} is not a command", "It holds {type, version?, data}; contracts/schemas/<type>.v<version>.json tells data.")
    unknown = set(told) - {"type", "version", "data"}
    if unknown:
        raise _usage(f"{file} has {', '.join(sorted(map(str, unknown)))} beside type, version and data", "Move it into data, or remove it.")
    if type(told.setdefault("version", 1)) is not int:
        raise _usage(f"{file} has the version {told['version']!r}", "A version is a whole number, as 1.")
    try:
        return {"type": told["type"], "version": told["version"], "data": json.loads(json.dumps(told["data"]))}
    except TypeError as error:
        raise _usage(f"{file} holds what JSON cannot: {error}", "Use texts, numbers, lists and mappings.") from error


class _Texts(yaml.SafeLoader):
    """JSON's values only: 2025-10-04 is a text here, not a date."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def key_file(settings: CliSettings, tenant: str | None, name: str) -> Path:
    """Where the keys of this machine's publishers lie unless --key says otherwise."""
    return settings.state_dir / "publishers" / (tenant or settings.tenant) / f"{name}.pem"


def only_publisher(settings: CliSettings, tenant: str | None) -> str:
    """The publisher whose key is here, when there is just one. Raises: CliError."""
    folder = key_file(settings, tenant, "x").parent
    names = sorted(path.stem for path in folder.glob("*.pem"))
    if len(names) == 1:
        return names[0]
    there = f"{folder} holds keys of {', '.join(names)}" if names else f"{folder} holds no key"
    raise _usage(there, "Name one by --publisher; `barecount publishers register NAME --role operator` makes one.")


def _usage(message: str, remedy: str) -> CliError:
    error = CliError(message, remedy)
    error.exit_code = USAGE
    return error


def _told(data: dict[str, Any]) -> str:
    """The short values of an event, as a person reads them."""
    return " ".join(f"{name}={value}" for name, value in data.items() if isinstance(value, str | int | bool) and len(str(value)) <= 100)
