"""`derain serve CONFIG.yaml`: many live streams, a web page and an API."""

from __future__ import annotations

from typing import Annotated

import typer


def serve(
    config: Annotated[str, typer.Argument(metavar="CONFIG.yaml", help="The streams, see configs/live.yaml.")],
    host: Annotated[str | None, typer.Option(help="Address to listen on, in place of listen.host.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="In place of listen.port; 0: any.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Look for all that starting and the streams would refuse; then end.")
    ] = False,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Derain many live streams at once, restart what dies, and show it all on a web page.

    SIGHUP reads the file again; streams that did not change are not touched. SIGTERM and Ctrl-C drain, a second one
    ends at once.
    """
    from pipeline.errors import DerainError, UsageError
    from pipeline.service.config import Listen, ServiceConfig, load_config

    if log_level not in ("debug", "info", "warning", "error"):
        raise UsageError(f"--log-level {log_level}: choose one of debug, info, warning, error")
    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}

    def adjust(content: ServiceConfig) -> ServiceConfig:
        try:
            listen = Listen.model_validate(content.listen.model_dump() | given)
        except ValueError as error:
            raise UsageError(f"--host {host}: no address; 127.0.0.1 is this machine alone, 0.0.0.0 all") from error
        return content.model_copy(update={"listen": listen})

    if check:
        from pipeline.service.order import check_streams
        from pipeline.service.starting import check_start

        content = adjust(load_config(config))
        check_start(content)
        streams = content.streams
        try:
            check_streams(streams)
        except DerainError as error:
            raise DerainError(f"{config}: {error}") from error
        typer.echo(f"{config}: {len(streams)} stream{'s' * (len(streams) != 1)}, nothing wrong")
        return
    from pipeline.service.server import Service, set_up_logging

    set_up_logging(log_level)
    if code := Service(config, adjust=adjust).run():
        raise typer.Exit(code)
