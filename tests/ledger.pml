/*
 * ledger.pml - the life of one operation (docs/strong.md) as a Promela model: written from the
 * table, not from the C code, so that both can be wrong only in the same way if the table is.
 *
 * Three agents, TOKENS tokens, one coordinator, children that outlive their agents. Messages are
 * flags: once sent they may arrive at any time and any number of times. Every answer may be lost.
 * A step of the coordinator is atomic: it is what one flushed command does.
 *
 * -DCLASS=0 naked, 1 keyed, 2 idempotent; -DTOKENS=n; -DAGAIN: a person may have it run once more;
 * -DAPPROVAL: every run needs a person's approval; -DPRUNE: results may go. -DONLY_EFFECTS: looks
 * for a second effect only; -DTOLD_ONCE: also for a start that is answered twice.
 * Wrong variants (each must be caught, see ledger_spin.sh): -DNAKED_RETRY -DFENCED_RETRY
 * -DSETTLE_EARLY -DSTART_NOT_DURABLE -DREPORT_ANY_TOKEN -DEND_WITH_OPEN -DKEYED_FOREVER -DTOKEN_KEPT
 * -DSTART_ANY_TOKEN -DSTART_AGAIN -DREFUSE_ANY_TOKEN -DEXPIRE_STARTED -DUNAPPROVED -DPRUNE_IN_DOUBT
 *
 * Left out: what parameters, results, proofs and evidence say, and who says it (the exploration of the C
 * code looks at these); forced moves. A lapse here is one of the current token, right or wrong, at any time,
 * so one with a late token could do nothing more.
 */
#ifndef CLASS
#define CLASS 0
#endif
#ifndef TOKENS
#define TOKENS 4
#endif
#define NAKED 0
#define KEYED 1
#define IDEMPOTENT 2

mtype = { none, proposed, granted, executing, doubt, committed, failed, expired, pruned };

mtype state = none;
byte last;              /* the last token given out */
byte token;             /* the current one; 0: none */
byte open;              /* starts of this run that may have an effect */
byte nth;
bool approved;
bool forgotten;         /* the service does not know its keys any more */
bool unflushed;         /* only in the variant: the start is not on the disk */

byte effects[2];        /* per run */
mtype fate = none;      /* how the first run ended */

byte run_of[TOKENS + 1];
bool asked[TOKENS + 1], told[TOKENS + 1], gone[TOKENS + 1], running[TOKENS + 1],
     orphan[TOKENS + 1], reported[TOKENS + 1], refused[TOKENS + 1];
/* for judging */
bool given[TOKENS + 1], answered[TOKENS + 1];

inline check_run(s, n)
{
    assert(CLASS == IDEMPOTENT || effects[n] <= 1);              /* 1 */
#ifndef ONLY_EFFECTS
    assert(s != committed || effects[n] >= 1);                   /* 2 */
    assert((s != failed && s != expired) || effects[n] == 0)     /* 3 */
#endif
}

inline check()
{
    check_run(state, nth);
    if
    :: nth == 1 -> check_run(fate, 0)
    :: else
    fi
}

inline have_effect(t)
{
    if
    :: CLASS == KEYED && !forgotten && effects[run_of[t]] > 0
    :: else ->
        if
        :: effects[run_of[t]] < 2 -> effects[run_of[t]]++
        :: else
        fi
    fi;
    check()
}

/* Two of these do not hold of one token at the same time. */
#define STIRS(t)  (told[t] || running[t] || orphan[t])
#if TOKENS == 4
#define QUIET     (!STIRS(1) && !STIRS(2) && !STIRS(3) && !STIRS(4))
#elif TOKENS == 3
#define QUIET     (!STIRS(1) && !STIRS(2) && !STIRS(3))
#else
#error TOKENS is 3 or 4
#endif

#ifdef KEYED_FOREVER
#define VALID true
#else
#define VALID (!forgotten)
#endif
#define REPEATABLE (CLASS == IDEMPOTENT || (CLASS == KEYED && VALID))

#ifdef REPORT_ANY_TOKEN
#define CURRENT_FOR_REPORT(t) true
#else
#define CURRENT_FOR_REPORT(t) (t == token)
#endif
#ifdef START_ANY_TOKEN
#define CURRENT_FOR_START(t) true
#else
#define CURRENT_FOR_START(t) (t == token)
#endif
#ifdef START_AGAIN
#define STARTABLE (state == granted || state == executing)
#else
#define STARTABLE (state == granted)
#endif
#ifdef REFUSE_ANY_TOKEN
#define CURRENT_FOR_REFUSE(t) true
#else
#define CURRENT_FOR_REFUSE(t) (t == token)
#endif
#if defined(APPROVAL) && !defined(UNAPPROVED)
#define MAY_BEGIN approved
#else
#define MAY_BEGIN true
#endif
#ifdef SETTLE_EARLY
#define QUIET_ENOUGH true
#else
#define QUIET_ENOUGH QUIET
#endif

/* No further attempt. */
inline end_or_doubt(end)
{
#ifdef END_WITH_OPEN
    state = end;
    open = 0
#else
    if
    :: open > 0 -> state = doubt
    :: else -> state = end
    fi
#endif
}

active [3] proctype agent()
{
    byte t;
    do
    :: atomic {
           state == proposed && MAY_BEGIN && last < TOKENS ->
#ifdef TOKEN_KEPT
           if
           :: token == 0 -> last++
           :: else
           fi;
#else
           last++;
#endif
           token = last;
           t = last;
           assert(!given[t]);                                    /* 4, 5 */
           given[t] = true;
#ifdef APPROVAL
           assert(approved);
#endif
           run_of[t] = nth;
           state = granted;
           unflushed = false
       }
       if
       :: asked[t] = true;
          if
          :: atomic { told[t] -> told[t] = false; running[t] = true }
             if
             :: atomic { have_effect(t); running[t] = false }
                if
                :: reported[t] = true
                :: skip /* dead before the report */
                fi
             :: running[t] = false; /* the service says no, or dead before the effect */
                if
                :: refused[t] = true
                :: skip
                fi
             :: atomic { running[t] = false; orphan[t] = true } /* dead, but not its child */
             fi
          :: atomic { told[t] = false; gone[t] = true } /* dead while it waits */
          fi
       :: gone[t] = true /* dead before it asked, or the answer to the grant was lost */
       fi;
       t = 0
    od
}

active proctype child()
{
    byte t;
    do
    :: atomic {
           select(t : 1 .. TOKENS);
           if
           :: orphan[t] -> orphan[t] = false; have_effect(t)
           :: orphan[t] -> orphan[t] = false
           :: else
           fi;
           t = 0
       }
    od
}

active proctype coordinator()
{
    byte t;
    do
    :: atomic { state == none -> state = proposed }
    :: atomic { /* expire */
#ifdef EXPIRE_STARTED
           state == proposed || state == executing -> open = (state == executing -> 0 : open);
#else
           state == proposed ->
#endif
           unflushed = false; end_or_doubt(expired); check()
       }
#ifdef APPROVAL
    :: atomic { state == proposed && !approved -> approved = true }
    :: atomic { /* rejected */
           state == proposed -> approved = false; unflushed = false; end_or_doubt(failed); check()
       }
#endif
    :: atomic { /* start: carried out; the answer arrives, or not */
           select(t : 1 .. TOKENS);
           if
           :: asked[t] && CURRENT_FOR_START(t) && STARTABLE && (open == 0 || REPEATABLE || state == executing) ->
               assert(t == token);                               /* 4 */
#ifdef TOLD_ONCE
               assert(!answered[t]);                             /* told once that it may go */
               answered[t] = true;
#endif
               state = executing;
               open++;
#ifdef START_NOT_DURABLE
               unflushed = true;
#endif
               if
               :: !gone[t] -> told[t] = true
               :: true
               fi
           :: else
           fi;
           t = 0
       }
    :: atomic { /* report */
           select(t : 1 .. TOKENS);
           if
           :: reported[t] && CURRENT_FOR_REPORT(t) && (state == executing || state == doubt) ->
               unflushed = false;
               state = committed;
               open = 0;
               check()
           :: else
           fi;
           t = 0
       }
    :: atomic { /* refuse */
           select(t : 1 .. TOKENS);
           if
           :: refused[t] && CURRENT_FOR_REFUSE(t) && state == executing ->
               assert(t == token);
               unflushed = false;
               open--;
               end_or_doubt(failed);
               check()
           :: else
           fi;
           t = 0
       }
    :: atomic { /* lapse, right or wrong; one with another token changes nothing */
           if
           :: state == granted -> state = proposed
           :: state == executing ->
               unflushed = false;
#ifdef FENCED_RETRY
               open = 0;
               state = proposed
#else
               state = doubt
#endif
           fi
       }
    :: atomic { /* issue again */
#ifdef NAKED_RETRY
           state == doubt -> open = 0;
#else
           state == doubt && REPEATABLE ->
#endif
           state = proposed
       }
    :: atomic { /* settle: the evidence is true when it is given */
           state == doubt && QUIET_ENOUGH ->
           open = 0;
           if
           :: effects[nth] > 0 -> state = committed
           :: effects[nth] == 0 -> state = failed
           :: effects[nth] == 0 -> state = proposed
           fi;
           check()
       }
#ifdef AGAIN
    :: atomic {
           (state == committed || state == failed || state == expired) && nth == 0 ->
           fate = state;
           nth = 1;
           token = 0;
           open = 0;
           approved = false;
           state = proposed;
           check()
       }
#endif
#ifdef PRUNE
    :: atomic { /* its result goes; the key stays known, and nothing leads away from there */
#ifdef PRUNE_IN_DOUBT
           state == committed || state == failed || state == expired || state == doubt ->
#else
           state == committed || state == failed || state == expired ->
#endif
           assert(state != doubt);                               /* nobody has settled it */
           state = pruned;
           token = 0
       }
#endif
#ifdef START_NOT_DURABLE
    :: atomic { /* a power cut takes the start back */
           unflushed -> unflushed = false; state = granted; open--
       }
#endif
    :: atomic { /* the time of the keys is over; what was started before has arrived */
           CLASS == KEYED && !forgotten && QUIET -> forgotten = true
       }
    od
}
