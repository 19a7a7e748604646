# The commands of the Skate Physics Preserver. `make` alone lists them.
#   RUNNER=local|docker  VIDEO=clip.mp4  PROMPT="..."  RUN=name  OBJECT=skateboard | BBOX=x1,y1,x2,y2 FRAME=n  ARGS="more options"
SHELL := /bin/bash
# A value is text, and nothing in it is run. What comes from the environment goes to the shell as it is. What stands on
# make's command line make would expand when it hands it on, so each of those is taken as it was typed. No value is named
# in $(...) below: the shell asks for it, in quotes, and runner/tools.py parts those that are lists into words. The names
# in small letters are this file's own, whatever stands on the command line.
typed := $(filter-out MAKE%,$(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name))))
$(foreach name,$(typed),$(eval override export $(name) := $$(value $(name))))
MAKEOVERRIDES :=
override python = "$${PYTHON:-$$(command -v python3.11 || command -v python3)}" -s
override clip_needed = if [ -z "$$VIDEO" ]; then echo "error: name the clip: make $@ VIDEO=clip.mp4" >&2; exit 2; fi
override prompt_needed = if [ -z "$$PROMPT" ]; then \
	echo 'error: say what to paint: make $@ PROMPT="cyberpunk drone, samurai"' >&2; exit 2; fi
override run_option = $${RUN:+--run "$$RUN"}
override box_option = $${OBJECT:+--object "$$OBJECT"} $${BBOX:+--bbox "$$BBOX" --frame "$${FRAME:-0}"}
override args = --words ARGS
override workers = -n auto --maxprocesses=4 --dist loadgroup --no-loadscope-reorder
override more_workers = -n $$(( $$(nproc) + 1 < 6 ? $$(nproc) + 1 : 6 )) --dist loadgroup --no-loadscope-reorder
override extract = $(python) runner $(args) extract -i "$$VIDEO" $(run_option) $(box_option)
override reskin = $(python) runner $(args) reskin --prompt "$$PROMPT" --mask mask.mp4 --pose pose.json $(run_option) $${TRIES:+--until-pass "$$TRIES"}
override evaluate = $(python) runner $(args) evaluate -original mask.mp4 -generated output.mp4 $(run_option)

.DEFAULT_GOAL := help
.PHONY: help demo extract reskin evaluate pipeline build up down test test-slow test-all lint weights frame bench-memory bench-tracker bench-posegen bench-reskin bench-evaluator bench-witness bench-loop bench-sweep sweep lock reference clean doctor

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1|/' | \
		while IFS='|' read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done
	@sed -n '2s/^# */  variables: /p' $(MAKEFILE_LIST)

demo: ## see the product work: a real clip with a known truth through every stage
	@$(python) runner demo

extract: ## VIDEO=clip.mp4 [OBJECT=name | BBOX=x1,y1,x2,y2 FRAME=n] [RUN=name]: masks and skeleton
	@$(clip_needed); $(extract)

reskin: ## PROMPT="object, skater" [RUN=name] [TRIES=n: judge, and paint again what fails]: paint object and skater
	@$(prompt_needed); $(reskin)

evaluate: ## [RUN=name]: the gate, IoU > 0.90 in every frame (make ends with 2 where evaluate_iou.py ends with 1, 2 or 3)
	@$(evaluate)

pipeline: ## VIDEO=... PROMPT=... [OBJECT= | BBOX= FRAME=] [RUN=name] [TRIES=n]: extract, reskin, evaluate
	@$(clip_needed); $(prompt_needed); $(extract)
	@$(reskin)
	@[ -n "$$TRIES" ] || $(evaluate)

sweep: ## SWEEP=my.yaml [PROFILE=local|slurm|kubernetes|folder] [ARGS=-n: only say]: clips x prompts x seeds, one table
	@if [ -z "$$SWEEP" ]; then echo 'error: name the file: make sweep SWEEP=sweep/example.yaml' >&2; exit 2; fi; \
	$(python) runner $(args) sweep "$$SWEEP" $${PROFILE:+--profile "$$PROFILE"}

build: ## [STAGES="tracker posegen"] [NODES="name ..."|none]: make the container images, for RUNNER=docker
	@$(python) runner --words STAGES docker build

up: ## [PUBLISH=1]: start ComfyUI's container and leave it running; PUBLISH=1 on 127.0.0.1:8188 too
	@$(python) runner docker up $${PUBLISH:+--publish}

down: ## stop it
	@$(python) runner docker down

test: ## the tests of every module, in at most 10 minutes; [TESTS=path: all of those] [ARGS="-k name"]
	@if [ -z "$$TESTS" ]; then set -- tests --ignore=tests/containers -m "not slow" $(workers); fi; \
	$(python) runner --words TESTS --words ARGS pytest "$$@"

# much of it waits: for servers, for a cluster, for what does not answer
test-slow: ## the tests that are left out of that, but the containers'; [ARGS="-k name"]
	@$(python) runner $(args) pytest tests --ignore=tests/containers -m slow $(more_workers)

test-all: ## everything that this machine can run: the slow tests and the containers' too; [ARGS="-k name"]
	@$(python) runner $(args) pytest tests

lint: ## ruff and mypy --strict
	@$(python) runner ruff check .
	@$(python) runner ruff format --check .
	@$(python) runner mypy

weights: ## [PROFILE="tracker pose"] [CHECK=1]: fetch or verify model files; ARGS=--list shows them
	@$(python) runner --words PROFILE=--profile $(args) weights $${CHECK:+--check}

frame: ## VIDEO=clip.mp4 | RUN=name [FRAME=n] [ARGS="-o file.png"]: that frame with a pixel grid, to read a box from
	@[ -n "$$RUN" ] || { $(clip_needed); }; [ -z "$$VIDEO" ] || RUN=; \
	$(python) runner $(args) frame $${VIDEO:+-i "$$VIDEO"} $(run_option) --frame "$${FRAME:-0}"

bench-tracker: ## SAM 2.1 here against upstream's plain loop: throughput and memory growth; ARGS="--frames 300"
	@$(python) runner $(args) bench.tracker

bench-posegen: ## RTMW here against rtmlib's own loop: throughput and memory growth; ARGS="--gmacs 4"
	@$(python) runner $(args) bench.posegen

bench-reskin: ## our overhead over the ComfyUI server's own work, and memory at three lengths; ARGS="--frames 81"
	@$(python) runner $(args) bench.reskin

bench-evaluator: ## IoU and J&F here against their plain definitions; memory at 100 and 2,000 frames
	@$(python) runner $(args) bench.evaluator

bench-witness: ## what the witnesses say of right and wrong masks, where the truth is known; ARGS="--short --folder DIR"
	@$(python) runner $(args) bench.witness

bench-loop: ## paintings until a clip passes: window by window against the whole clip anew; ARGS=--simulated
	@$(python) runner $(args) bench.loop

bench-sweep: ## a sweep beside the same commands by hand; one pretended GPU against two; ARGS="--cells 4 --rounds 1"
	@$(python) runner $(args) bench.sweep

bench-memory: ## peak memory of extract and evaluate at 100 and at 2,000 frames
	@$(python) runner bench.memory

lock: ## compile every requirements.in into its hashed requirements.lock
	@$(python) runner locks

reference: ## write docs/reference/commands.md and handoff/commands.json, after a change of any command's options
	@$(python) runner docs.make_reference

clean: ## remove the environments and downloads (not the runs)
	rm -rf .envs data/cache

doctor: ## [PROFILE="tracker reskin"] [SERVER=host:port]: what this machine lacks for RUNNER, each with what mends it
	@$(python) runner --words PROFILE doctor
