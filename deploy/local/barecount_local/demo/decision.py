"""People decide: replaying what had succeeded waits for another person than the requester."""

from __future__ import annotations

from .telling import CONTRACT_VERSION, DAY, Story, ask_for_replay, ended, figures, waits


def decision(story: Story) -> None:
    story.title("The same day once more: it had succeeded, so a person must decide")
    admin, governance = story.client("tenant_admin"), story.client("governance")
    body = {"run_id": story.replay_id, "contract_version": CONTRACT_VERSION, "partition": str(DAY)}
    _, event = ask_for_replay(admin, body)
    story.claim(event["type"] == "ApprovalRequested", "ApprovalRequested", event)
    asked = event["data"]
    story.done("POST /pipelines/replay", f"waits: {asked['rule']}, because {asked['reason']}")
    request = asked["request_id"]
    told = {"request_id": request, "decision": "approve", "reason": "Finance has asked for it", "plan_digest": asked["plan_digest"]}
    story.refused("POST /governance/decisions, by the requester", "own-request", lambda: admin.write("POST", "/governance/decisions", told))
    [shown] = [one for one in governance.items("/governance/approvals", state="waiting") if one["request_id"] == request]
    story.done(
        "GET /governance/approvals?state=waiting", f"plan {shown['plan_digest'][:19]}… for {', '.join(shown['plan']['data_partitions'])}"
    )
    decided = governance.write("POST", "/governance/decisions", told, wait=30)["event"]["data"]
    story.done("POST /governance/decisions", f"approved by a {decided['by']}: {decided['reason']}; the run is {decided['new_run_id']}")
    run = ended(story.client("operator"), decided["new_run_id"])
    story.claim(run["status"] == "succeeded", "the approved replay to succeed", run)
    metrics = waits(lambda: story.client("operator").get(f"/runs/{decided['new_run_id']}/metrics"), "the run's metrics")
    story.done(f"GET /runs/{decided['new_run_id']}", f"{run['status']}: {figures(metrics)}")
    story.refused(
        "the same decision again", "request-not-waiting", lambda: governance.write("POST", "/governance/decisions", told, wait=30)
    )
