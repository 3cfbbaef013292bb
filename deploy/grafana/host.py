"""The dashboard *Host and containers*: what the machine has left, and who takes it."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.panels import BAD, WARNING, Page, graph, number

_OF = 'instance=~"$instance"'
_RATE = "[$__rate_interval]"
_DISK = 'fstype!~"tmpfs|ramfs|overlay|squashfs|nsfs"'
_NETWORK = 'device!~"lo|veth.*|br-.*|docker.*"'
_DRIVE = 'device!~"loop.*|ram.*|zram.*"'
_CONTAINER = 'name!=""'
_FULL = ((0.8, WARNING), (0.95, BAD))


def host() -> Dashboard:
    """The dashboard."""
    page = Page(
        "sigap-host",
        "Sigap / Host and containers",
        "Processor, memory, disks and network of the machine and of each container.",
    )
    page.variable("instance", "Machine", "node_uname_info")
    used = f"1 - node_memory_MemAvailable_bytes{{{_OF}}} / node_memory_MemTotal_bytes{{{_OF}}}"
    total = f"node_memory_SwapTotal_bytes{{{_OF}}}"
    swap = f"1 - node_memory_SwapFree_bytes{{{_OF}}} / ({total} > 0) or {total} * 0"
    size, free = f"node_filesystem_size_bytes{{{_OF}, {_DISK}}}", f"node_filesystem_avail_bytes{{{_OF}, {_DISK}}}"
    page.row(
        "Now",
        number(
            "Uptime", "Since the machine was started.", f"time() - node_boot_time_seconds{{{_OF}}}", unit="s", width=3
        ),
        number("Cores", "Processors of the machine.", f'count(node_cpu_seconds_total{{{_OF}, mode="idle"}})', width=3),
        number("Load", "Average number of processes that want a core, over a minute.", f"node_load1{{{_OF}}}", width=3),
        number(
            "Processor",
            "Share of the cores that is busy.",
            f'1 - avg(rate(node_cpu_seconds_total{{{_OF}, mode="idle"}}{_RATE}))',
            unit="percentunit",
            steps=_FULL,
            width=3,
        ),
        number("Memory", "Share that is in use.", used, unit="percentunit", steps=_FULL, width=3),
        number("Swap", "Share that is in use; 0 where there is none.", swap, unit="percentunit", steps=_FULL, width=3),
        number(
            "Fullest disk",
            "Share that is in use.",
            f"max(1 - {free} / {size})",
            unit="percentunit",
            steps=_FULL,
            width=3,
        ),
        number(
            "Containers",
            "That run now, by cAdvisor.",
            f"count(container_last_seen{{{_CONTAINER}}}) or vector(0)",
            width=3,
        ),
    )
    page.row(
        "Machine",
        graph(
            "Processor by use",
            "Cores that are busy with each kind of work.",
            {"{{mode}}": f'sum by (mode) (rate(node_cpu_seconds_total{{{_OF}, mode!="idle"}}{_RATE}))'},
            unit="short",
            stacked=True,
        ),
        graph(
            "Load",
            "Processes that want a core, averaged over 1, 5 and 15 minutes, and how many cores there are.",
            {
                "1 minute": f"node_load1{{{_OF}}}",
                "5 minutes": f"node_load5{{{_OF}}}",
                "15 minutes": f"node_load15{{{_OF}}}",
                "cores": f'count(node_cpu_seconds_total{{{_OF}, mode="idle"}})',
            },
            unit="short",
        ),
        graph(
            "Memory",
            "In use, and what there is; caches count as free.",
            {
                "used": f"node_memory_MemTotal_bytes{{{_OF}}} - node_memory_MemAvailable_bytes{{{_OF}}}",
                "total": f"node_memory_MemTotal_bytes{{{_OF}}}",
                "swap used": f"node_memory_SwapTotal_bytes{{{_OF}}} - node_memory_SwapFree_bytes{{{_OF}}}",
            },
            unit="bytes",
        ),
        graph(
            "Disks",
            "Share of each file system that is in use. An alarm from 95 %.",
            {"{{mountpoint}}": f"max by (mountpoint) (1 - {free} / {size})"},
            unit="percentunit",
            steps=_FULL,
            most=1,
        ),
        graph(
            "Disk traffic",
            "Bytes a second, by drive.",
            {
                "{{device}} read": f"rate(node_disk_read_bytes_total{{{_OF}, {_DRIVE}}}{_RATE})",
                "{{device}} written": f"rate(node_disk_written_bytes_total{{{_OF}, {_DRIVE}}}{_RATE})",
            },
            unit="Bps",
        ),
        graph(
            "Network",
            "Bytes a second, by interface; loopback and bridges are left out.",
            {
                "{{device}} in": f"rate(node_network_receive_bytes_total{{{_OF}, {_NETWORK}}}{_RATE})",
                "{{device}} out": f"rate(node_network_transmit_bytes_total{{{_OF}, {_NETWORK}}}{_RATE})",
            },
            unit="Bps",
        ),
    )
    page.row(
        "Containers",
        graph(
            "Processor by container",
            "Cores that each container keeps busy.",
            {"{{name}}": f"sum by (name) (rate(container_cpu_usage_seconds_total{{{_CONTAINER}}}{_RATE}))"},
            unit="short",
            stacked=True,
        ),
        graph(
            "Memory by container",
            "Working set: what the system can't take back.",
            {"{{name}}": f"sum by (name) (container_memory_working_set_bytes{{{_CONTAINER}}})"},
            unit="bytes",
            stacked=True,
        ),
        graph(
            "Disk traffic by container",
            "Bytes a second to and from the drives, by container.",
            {
                "{{name}} read": f"sum by (name) (rate(container_fs_reads_bytes_total{{{_CONTAINER}}}{_RATE}))",
                "{{name}} written": f"sum by (name) (rate(container_fs_writes_bytes_total{{{_CONTAINER}}}{_RATE}))",
            },
            unit="Bps",
        ),
        graph(
            "Network by container",
            "Bytes a second, by container.",
            {
                "{{name}} in": f"sum by (name) (rate(container_network_receive_bytes_total{{{_CONTAINER}}}{_RATE}))",
                "{{name}} out": f"sum by (name) (rate(container_network_transmit_bytes_total{{{_CONTAINER}}}{_RATE}))",
            },
            unit="Bps",
        ),
        graph(
            "Uptime by container",
            "Since each was started: a saw tooth is one that keeps dying.",
            {"{{name}}": f"time() - max by (name) (container_start_time_seconds{{{_CONTAINER}}})"},
            unit="s",
            width=24,
        ),
    )
    return page.build()
