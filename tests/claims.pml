/*
 * claims.pml - claims on one task and their outbox (docs/strong.md) as a Promela model: written from the
 * table, not from the C code.
 *
 * Who has a token is known by the token alone, so agents are the choices that their tokens still have:
 * the answer to a grant arrives, or never; then come checkpoints, and one end: done, given back, released,
 * or none. What was sent arrives at any time and any number of times. One coordinator, whose steps are
 * atomic: each is what one flushed command does. Lapses are right or wrong, of any token, at any time. The
 * channel of the task, and two copiers that die at every step.
 *
 * -DTOKENS=n (3): grants and reopenings. Wrong variants (each must be caught, see ledger_spin.sh):
 * -DCLAIM_STALE_TOKEN -DCLAIM_DONE_TWICE -DCLAIM_DONE_TAKEN -DCLAIM_OUTBOX_FORGOTTEN
 * -DCLAIM_REOPEN_KEEPS_TOKEN -DRELEASE_ANY_TOKEN -DLAPSE_STALE -DCOPY_UNCONDITIONAL
 *
 * Left out: more than one task (so also alternatives), checkpoints' texts (a checkpoint is a change that has
 * to be copied, as an end is), terms (a lapse may come at any time).
 */
#ifndef TOKENS
#define TOKENS 3
#endif

mtype = { none, done, retry, released };

/* the ledger */
bool held;
byte last;             /* the last token given out, to a holder or to a reopening */
byte token;            /* of the lease */
mtype outcome = none;
byte changes;          /* numbers given out in the outbox */
bool noted;            /* the outbox has the latest change */

/* the channel: what it shows, by the number of the change */
byte shown;

/* for judging */
byte ends;                  /* accepted since the last opening */
bool ended[TOKENS + 1];     /* this token has ended the task */

/* of the holders */
bool given[TOKENS + 1];
bool told[TOKENS + 1];      /* the answer to the grant arrived */
mtype end[TOKENS + 1];      /* what its holder sent, if anything */

#define CHANGES_MAX (2 * TOKENS)

inline change()
{
    changes++;
#ifndef CLAIM_OUTBOX_FORGOTTEN
    noted = true
#endif
}

inline check()
{
    assert(ends <= 1);                                    /* an outcome is accepted once */
    assert(!held || outcome != done);                    /* what is done is nobody's */
    assert(shown == changes || noted)                     /* what the channel lacks is in the outbox */
}

#ifdef CLAIM_STALE_TOKEN
#define CURRENT(t) true
#else
#define CURRENT(t) (t == token)
#endif
#ifdef CLAIM_DONE_TWICE
#define NO_OUTCOME true
#else
#define NO_OUTCOME (outcome == none)
#endif
#ifdef CLAIM_DONE_TAKEN
#define TAKEABLE true
#else
#define TAKEABLE (outcome != done)
#endif
#ifdef RELEASE_ANY_TOKEN
#define CURRENT_FOR_RELEASE(t) true
#else
#define CURRENT_FOR_RELEASE(t) (t == token)
#endif
#ifdef LAPSE_STALE
#define CURRENT_FOR_LAPSE(t) true
#else
#define CURRENT_FOR_LAPSE(t) (t == token)
#endif

/* Every token's holder, one choice at a time. */
active proctype holders()
{
    byte t;
    do
    :: atomic {
           select(t : 1 .. TOKENS);
           if
           :: given[t] && !told[t] -> told[t] = true
           :: told[t] && end[t] == 0 -> end[t] = done
           :: told[t] && end[t] == 0 -> end[t] = retry
           :: told[t] && end[t] == 0 -> end[t] = released
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
    :: atomic { /* acquire */
           !held && TAKEABLE && last < TOKENS ->
           last++;
           token = last;
           given[last] = true;
           held = true;
           outcome = none;
           check()
       }
    :: atomic { /* finish: done, or given back */
           select(t : 1 .. TOKENS);
           if
           :: (end[t] == done || end[t] == retry) && CURRENT(t) && NO_OUTCOME && changes < CHANGES_MAX ->
               assert(t == token); /* with another token nothing is carried out */
               held = false;
               outcome = end[t];
               if
               :: outcome == done ->
                  ends++;
                  assert(!ended[t]); /* who ended it cannot end it again */
                  ended[t] = true
               :: else
               fi;
               change();
               check()
           :: else
           fi;
           t = 0
       }
    :: atomic { /* checkpoint: of a claim that lapsed and that nobody took since: held again */
           select(t : 1 .. TOKENS);
           if
           :: told[t] && CURRENT(t) && NO_OUTCOME && changes < CHANGES_MAX ->
               assert(t == token);
               held = true;
               change();
               check()
           :: else
           fi;
           t = 0
       }
    :: atomic { /* release: given back, so no end with this token is taken any more */
           select(t : 1 .. TOKENS);
           if
           :: end[t] == released && CURRENT_FOR_RELEASE(t) && held ->
               assert(t == token);
               held = false;
               outcome = retry;
               check()
           :: else
           fi;
           t = 0
       }
    :: atomic { /* lapse */
           select(t : 1 .. TOKENS);
           if
           :: given[t] && CURRENT_FOR_LAPSE(t) && held ->
               assert(t == token);
               held = false;
               check()
           :: else
           fi;
           t = 0
       }
    :: atomic { /* reopen: done before, and nobody has it */
           outcome == done && !held && last < TOKENS && changes < CHANGES_MAX ->
#ifndef CLAIM_REOPEN_KEEPS_TOKEN
           last++;
           token = last;
#endif
           outcome = none;
           ends = 0;
           change();
           check()
       }
    od
}

/* Two copiers; `saw` may be old when it is written. The record is written on condition that the channel
 * shows nothing later. What was said of the outbox counts only up to what was copied. */
active [2] proctype copier()
{
    byte saw;
    do
    :: atomic { noted -> saw = changes }
       if
       :: atomic {
#ifndef COPY_UNCONDITIONAL
              if
              :: saw > shown -> shown = saw
              :: else
              fi
#else
              assert(saw >= shown); /* the channel never goes back */
              shown = saw
#endif
          }
          if
          :: atomic {
                 if
                 :: saw == changes -> noted = false
                 :: else
                 fi;
                 check()
             }
          :: skip /* dead before it said so */
          fi
       :: skip /* dead */
       fi;
       saw = 0
    od
}
